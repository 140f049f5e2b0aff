"""The two fusions of FACET-VLM: of the views (CVSA), and of the face with the texts (MTGF).

FACET-VLM (arXiv 2507.01673) gives no equations in what is public; these follow its description and
its author's sibling papers (AffectVLM, SMILE-VLM). Our own choices: all shapes, gates and masks.

Letters: B scans, V views, L = 1 + P tokens of a view, D their width, K texts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deft_llm.facet.tower import joined, split

_HEADS = 4


class CrossViewAggregation(nn.Module):
    """CVSA: every view asks the tokens of the others and the texts; views are weighted and summed.

    A view's weight is softmax(w tanh(W z) + beta s), where s is the cosine of the view with the
    text that it is most like.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(dim, dim) for _ in range(4)
        )
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.inner = nn.Linear(dim, dim)
        self.outer = nn.Linear(dim, 1)
        self.beta = nn.Parameter(torch.ones(()))

    def forward(
        self, tokens: Tensor, present: Tensor, texts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fuse views.

        Args:
            tokens: (B, V, L, D), the first token of a view stands for all of it.
            present: (B, V) bool.
            texts: (K, D).

        Returns:
            Views (B, V, D), the fused face (B, D), and the weights (B, V) of the views.
        """
        batch, _, length, _ = tokens.shape
        seen = self.norm(tokens)
        # Keys in the order of the mask below: tokens view by view (V L of them), then K texts.
        keys = torch.cat([seen.flatten(1, 2), texts.expand(batch, -1, -1)], dim=1)
        q, k, v = (
            # One query a view, by its first token; keys and values are all tokens and texts.
            split(proj(x), _HEADS)
            for proj, x in ((self.q_proj, seen[:, :, 0]), (self.k_proj, keys), (self.v_proj, keys))
        )
        mask = self._mask(present, length, len(texts))
        # The residual goes past the norm (pre-norm), as in the blocks of the tower.
        whole = tokens[:, :, 0]
        whole = whole + self.out_proj(
            joined(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
        )
        whole = whole + self.mlp(self.norm_mlp(whole))
        likeness = (F.normalize(whole, dim=-1) @ F.normalize(texts, dim=-1).T).amax(dim=-1)
        score = self.outer(torch.tanh(self.inner(whole)))[..., 0] + self.beta * likeness
        # At least one view is there, so the softmax never runs over -inf alone, which gives NaN.
        weights = score.masked_fill(~present, -torch.inf).softmax(dim=1)
        return whole, (weights[..., None] * whole).sum(dim=1), weights

    @staticmethod
    def _mask(present: Tensor, length: int, texts: int) -> Tensor:
        """Which keys (B, 1, V, V L + K) a view may ask: other views that are there, and texts."""
        count = present.shape[1]
        # Across views: a view asks the others, never itself.
        other = ~torch.eye(count, dtype=torch.bool, device=present.device)
        tokens = (other & present[:, None]).repeat_interleave(length, dim=2)
        # Texts are always there: with a single view they keep the row from being empty (NaN).
        return F.pad(tokens, (0, texts), value=True)[:, None]


class TextGuidedFusion(nn.Module):
    """MTGF: every text looks at the face, and the face takes what the likely texts have seen.

    G_c is what text c gathers from the tokens, p = softmax(cos(G_c, t_c) / tau), and the face
    becomes LN(z + g sum_c p_c G_c) with the gate g = sigmoid(W [z; sum_c p_c G_c]).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (
            nn.Linear(dim, dim) for _ in range(4)
        )
        self.gate = nn.Linear(2 * dim, dim)

    def forward(
        self, face: Tensor, tokens: Tensor, present: Tensor, texts: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Fuse a face with texts.

        Args:
            face: (B, D), from CVSA.
            tokens: (B, V, L, D).
            present: (B, V) bool.
            texts: (K, D).
            scale: 1 / tau.

        Returns:
            The face (B, D), before its norm, and where each text looked (B, K, V, L): the shares of
            all tokens, the face itself left out.
        """
        batch, count, length, _ = tokens.shape
        keys = torch.cat([face[:, None], tokens.flatten(1, 2)], dim=1)
        q = split(self.q_proj(texts).expand(batch, -1, -1), _HEADS)
        k, v = (split(proj(keys), _HEADS) for proj in (self.k_proj, self.v_proj))
        there = F.pad(present.repeat_interleave(length, 1), (1, 0), value=True)  # the face first
        # Written out, because scaled_dot_product_attention does not return the shares.
        score = q @ k.transpose(-1, -2) / k.shape[-1] ** 0.5
        share = score.masked_fill(~there[:, None, None], -torch.inf).softmax(dim=-1)
        gathered = self.out_proj(joined(share @ v))
        alike = F.cosine_similarity(gathered, texts, dim=-1)
        taken = ((alike * scale).softmax(dim=-1)[..., None] * gathered).sum(dim=1)
        gate = torch.sigmoid(self.gate(torch.cat([face, taken], dim=-1)))
        # Mean over the heads, without the face.
        where = share.mean(dim=1)[..., 1:].unflatten(-1, (count, length))
        return face + gate * taken, where
