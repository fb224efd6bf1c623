from .gaussian.population import Activation as Activation
from .gaussian.population import Population as Population
from .gaussian.population import population_gradient as population_gradient
from .gaussian.population import population_hessian as population_hessian
from .gaussian.population import population_loss as population_loss
from .neurons import Neurons as Neurons
from .neurons import neurons_of as neurons_of
