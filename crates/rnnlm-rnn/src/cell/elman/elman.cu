// An Elman cell for one unit of one row, forward and backward. The equations are in `mod.rs`. Constant from the host:
// RELU.

DEVICE void forward_step(ForwardUnit& u) {
  const float z = u.gates[0] + u.recurrent[0];
  // ReLU propagates a NaN
  u.hidden = RELU ? (z < 0.0f ? 0.0f : z) : tanhf(z);
}

DEVICE void backward_step(const TapeUnit& tape, BackwardUnit& u) {
  const float h = tape.hidden;
  u.gates[0] = RELU ? (h <= 0.0f ? 0.0f : u.hidden) : u.hidden * (1.0f - h * h);
  u.recurrent[0] = u.gates[0];
  u.hidden = 0.0f;
}
