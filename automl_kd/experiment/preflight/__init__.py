"""The check of a teacher from a file before anything is spent: does it see its images as it was trained to?"""
