"""Makes the literal `zenml pipeline run reason2decide` work, and nothing else.

ZenML loads a source without a dot as a module; this module stands for the pipeline of that name.
"""

import sys

from pipelines.training import reason2decide

sys.modules[__name__] = reason2decide
