"""MLflow sync in the process of a test: a sync process of its own imports mlflow again, which takes seconds."""

from audio_lm.tracking import run as tracking_run
from audio_lm.tracking.mlflow.client import MlflowSync
from audio_lm.tracking.mlflow.store import TRACKING_ERRORS


class InProcessSync:
    """Sync in this process, on request."""

    def __init__(self, folder, uri):
        self.mlflow_sync = MlflowSync(folder.absolute(), uri, tracking_run.log.warning)

    def send_new(self):
        self.mlflow_sync.send_new()

    def finish(self, seconds):
        try:
            self.send_new()
            self.mlflow_sync.send_deferred()
        except TRACKING_ERRORS:
            return False
        return not self.mlflow_sync.state.left
