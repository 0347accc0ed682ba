"""Rows and places within a tensor of a submodule, whatever the order of its dimensions."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """A batch of `rows` sequences of `length` tokens, of which a submodule may see another arrangement."""

    rows: int
    length: int

    def by_row(self, tensor: Tensor) -> Tensor | None:
        """[rows, …]; None where no dimension belongs to the rows."""
        if (placed := self.by_place(tensor)) is not None:
            return placed
        if tensor.dim() and tensor.shape[0] == self.rows:
            return tensor
        if tensor.dim() > 1 and tensor.shape[1] == self.rows:
            return tensor.transpose(0, 1)
        if tensor.dim() and tensor.shape[0] and tensor.shape[0] % self.rows == 0:
            unfolded: Tensor = tensor.unflatten(0, (self.rows, -1))
            return unfolded
        return None

    def by_place(self, tensor: Tensor) -> Tensor | None:
        """[rows, length, …]; None where no two dimensions are rows and places.

        Known are [B, T, …], [T, B, …], [B, …, T, …], [B·T, …], [B·H, T, …] and whole chunks, [B, N, C, …].
        """
        rows, length, shape = self.rows, self.length, tuple(tensor.shape)
        if shape[:2] == (rows, length):
            return tensor
        if shape[:2] == (length, rows):
            return tensor.transpose(0, 1)
        if not shape:
            return None
        if shape[0] == rows:
            later = next((axis for axis in range(2, len(shape)) if shape[axis] == length), None)
            if later is not None:
                return tensor.movedim(later, 1)
            if len(shape) > 3 and shape[1] * shape[2] >= length > (shape[1] - 1) * shape[2]:
                return tensor.flatten(1, 2)[:, :length]
        unfolded: Tensor | None = None
        if shape[0] == rows * length:
            unfolded = tensor.unflatten(0, (rows, length))
        elif len(shape) > 1 and shape[0] and shape[0] % rows == 0 and shape[1] == length:
            unfolded = tensor.unflatten(0, (rows, -1)).movedim(2, 1)
        return unfolded
