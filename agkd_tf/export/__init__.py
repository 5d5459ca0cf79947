"""Export of trained classifiers."""

from agkd_tf.export.saved_model import export_saved_model
from agkd_tf.export.state_dict import ExportedStateDict, export_state_dict

__all__ = ["ExportedStateDict", "export_saved_model", "export_state_dict"]
