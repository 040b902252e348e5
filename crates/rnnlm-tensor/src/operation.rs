//! What an operation takes besides matrices: transposition and activation.

/// Which operand of a matrix multiplication is transposed: the three cases that a linear map and its gradients need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transpose {
    /// `A·B`: the gradient of an input, `dX = dY·W`.
    NN,
    /// `A·Bᵀ`: a linear map with PyTorch's weight layout, `Y = X·Wᵀ`.
    NT,
    /// `Aᵀ·B`: the gradient of a weight, `dW = dYᵀ·X`.
    TN,
}

/// A function applied to every element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `y = tanh x`, derivative `1 − y²`.
    Tanh,
    /// `y = max(0, x)`, derivative `1` where `y > 0` and `0` elsewhere, as in PyTorch.
    Relu,
    /// `y = 1 / (1 + e^−x)`, derivative `y·(1 − y)`.
    Sigmoid,
}
