"""Results for the eye: leaderboards, plots and one HTML page that needs no network."""
