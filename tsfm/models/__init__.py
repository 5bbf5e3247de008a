"""Every model of the package, one import line each: importing this module fills the registry."""

from tsfm.models import cyclenet as cyclenet
from tsfm.models import dlinear as dlinear
from tsfm.models import moe_decoder as moe_decoder
from tsfm.models import moirai_moe as moirai_moe
from tsfm.models import naive as naive
from tsfm.models import s4 as s4
from tsfm.models import s_mamba as s_mamba
from tsfm.models import simba as simba
from tsfm.models import spacetime as spacetime
from tsfm.models import state_space as state_space
from tsfm.models import time_moe as time_moe
from tsfm.models import visual_mae as visual_mae
from tsfm.models import vitime as vitime
from tsfm.models import xlstm_time as xlstm_time
