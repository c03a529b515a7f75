"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# No example fails because the machine is busy, and every run tries the same ones.
settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")
