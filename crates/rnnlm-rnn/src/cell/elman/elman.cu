// Elman's cell for one unit of one row, the walk's stages 5 and 7; the equations stand in `mod.rs`. From the host: RELU.

constexpr bool KEEPS_GATES = false, KEEPS_CELL = false, KEEPS_CANDIDATE = false;

DEVICE void forward_step(Forward& u) {
  const float z = u.gates[0] + u.recurrent[0];
  // a NaN stays one
  u.hidden = RELU ? (z < 0.0f ? 0.0f : z) : tanhf(z);
}

DEVICE void backward_step(const Taped& taped, Backward& u) {
  const float h = taped.hidden;
  u.gates[0] = RELU ? (h <= 0.0f ? 0.0f : u.hidden) : u.hidden * (1.0f - h * h);
  u.products[0] = u.gates[0];
  u.hidden = 0.0f;
}
