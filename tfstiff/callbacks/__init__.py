"""What is put into `model.fit`: stiffness, schedules, stopping rules, kept models."""
