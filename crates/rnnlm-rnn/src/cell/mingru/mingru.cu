// minGRU for one unit of one row, forward and backward. The equations are in `mod.rs`.

// In the order of the gates.
enum Gate { UPDATE, NEW };

DEVICE void forward_step(ForwardUnit& u) {
  u.gates[UPDATE] = sigmoid(u.gates[UPDATE]);
  u.hidden += u.gates[UPDATE] * (u.gates[NEW] - u.hidden);
}

DEVICE void backward_step(const TapeUnit& tape, BackwardUnit& u) {
  const float z = tape.gates[UPDATE];
  u.gates[UPDATE] = u.hidden * (tape.gates[NEW] - tape.hidden_before) * (z * (1.0f - z));
  u.gates[NEW] = u.hidden * z;
  u.hidden -= u.gates[NEW];
}
