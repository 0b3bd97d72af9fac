"""The record of runs that the server keeps: in folders and in MLflow."""
