"""What runs the jobs: Ray Tune, or this process. Only this package knows Ray."""
