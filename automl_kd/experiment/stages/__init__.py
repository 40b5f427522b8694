"""The stages of an experiment, one file each: teacher, search, population, finals, comparison, scoring, screening."""
