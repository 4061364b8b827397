"""Write the metrics of a test once, however many processes it runs in."""

from mmengine.dist import master_only
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner

from lt_mm.registry import HOOKS


@HOOKS.register_module()
class RankZeroLoggerHook(LoggerHook):
    """mmengine's LoggerHook, of which rank 0 alone writes the JSON file of a test's metrics.

    LoggerHook writes it in every process, into one file, which may come out garbled. All else that
    it writes comes from rank 0 alone anyway. ``tools/test.py`` puts this in its place.
    """

    @master_only
    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the metrics of a test.

        Args:
            runner: of the test.
            metrics: what the evaluator found.
        """
        super().after_test_epoch(runner, metrics)
