"""What this machine and this project have for a build, and what would stop it: each finding with its remedy."""
