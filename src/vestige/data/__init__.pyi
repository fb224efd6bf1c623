from .dataset import DataError as DataError
from .dataset import DataSet as DataSet
from .dataset import binarize as binarize
from .dataset import center as center
from .dataset import sample as sample
from .load import load_data as load_data
