"""Several processes on this machine as one training: started, watched, started again."""
