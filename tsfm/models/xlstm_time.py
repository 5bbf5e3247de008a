"""xLSTMTime: a linear forecast of trend and season, mended by a stack of xLSTM blocks (Alharthi and Mahmood 2024).

A context is standardised by its own mean and deviation, then split into a moving average and the rest. Two linear maps
over time forecast each variate; the stack then reads the variates one after the other as a sequence, so a variate is
mended in sight of those before it. The authors' code makes all blocks sLSTM unless `mlstm_at` names others.

Its checkpoints hold weights that are never used, which `read_tensors` leaves out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn
from torch.nn import functional as F

from tsfm.errors import DataError
from tsfm.models.dlinear import split_trend
from tsfm.nn.xlstm import XLSTMStack
from tsfm.registry import register

# B series, C context steps, H horizon, V variates, D width.

EPSILON = 1e-5
UNUSED = ("Linear_Decoder.", "mm3.", "batch_norm.")


@dataclass(frozen=True)
class XLSTMTimeConfig:
    context: int = 512
    horizon: int = 96
    variates: int = 7
    width: int = 256
    depth: int = 3
    heads: int = 4
    mlstm_at: tuple[int, ...] = ()  # blocks that are mLSTM, counted from 0
    moving_average: int = 25

    def __post_init__(self) -> None:
        """Refuse heads that do not share the width, and blocks that do not exist."""
        if self.width % self.heads:
            raise DataError(f"heads={self.heads} must divide width={self.width}")
        if strange := [at for at in self.mlstm_at if not 0 <= at < self.depth]:
            raise DataError(f"mlstm_at names block {strange[0]}; there are {self.depth}, counted from 0")


PRESETS = {
    "ett": XLSTMTimeConfig(),
    "tiny": XLSTMTimeConfig(width=16, mlstm_at=(1,)),
}


@register("xlstm-time", kind="architecture")
class XLSTMTime(nn.Module):
    """Linear forecasts mended by xLSTM blocks over the variates; see the module's docstring."""

    Config = XLSTMTimeConfig
    # From github.com/muslehal/xLSTMTime, which looks for a rate before every fit and has no patience; these are ours.
    fit_settings = MappingProxyType(
        {"rate": 5e-4, "batch": 64, "epochs": 100, "patience": 100, "schedule": "one-cycle"}
    )

    def __init__(self, config: XLSTMTimeConfig):
        super().__init__()
        self.config = config
        self.Linear_Seasonal, self.Linear_Trend = (nn.Linear(config.context, config.horizon) for _ in range(2))
        for linear in (self.Linear_Seasonal, self.Linear_Trend):
            nn.init.constant_(linear.weight, 1 / config.context)
        self.mm = nn.Linear(config.horizon, config.width)
        kinds = ["mlstm" if at in config.mlstm_at else "slstm" for at in range(config.depth)]
        self.xlstm_stack = XLSTMStack(kinds, config.width, {"slstm": config.heads, "mlstm": config.heads})
        self.mm2 = nn.Linear(config.width, config.horizon)

    def forward(self, values: Tensor, start: Tensor | None = None) -> Tensor:
        """Forecast (B, H, V) of contexts (B, C, V), in their units; `start` is not read."""
        mean, deviation = self.level(values)
        return self.standardised((values - mean) / deviation) * deviation + mean

    def level(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of every context, (B, 1, V) each."""
        deviation = (values.var(1, keepdim=True, correction=0) + EPSILON).sqrt()
        return values.mean(1, keepdim=True), deviation

    def standardised(self, values: Tensor) -> Tensor:
        """The forecast of standardised contexts; (B, C, V) -> (B, H, V)."""
        trend, rest = split_trend(values.mT, self.config.moving_average)  # (B, V, C)
        drawn = self.Linear_Seasonal(rest) + self.Linear_Trend(trend)  # (B, V, H)
        mended: Tensor = self.mm2(self.xlstm_stack(self.mm(drawn)))
        return mended.mT

    def objective(self, values: Tensor, target: Tensor, start: Tensor | None = None) -> Tensor:
        """The mean absolute error."""
        return F.l1_loss(self(values), target)


def read_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a published checkpoint, without the weights that its model never uses."""
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(UNUSED)}
