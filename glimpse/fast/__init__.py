"""The rollout and the sensor in C, for a CPU: the same values as glimpse/model.py and sensor.py."""
