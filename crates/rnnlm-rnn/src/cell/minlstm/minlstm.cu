// minLSTM for one unit of one row, forward and backward. The equations are in `mod.rs`.

// In the order of the gates.
enum Gate { FORGET, INPUT, NEW };

// f' = f / (f + i), 1/2 if both are 0.
DEVICE float normalized_forget(float f, float i) { return f + i == 0.0f ? 0.5f : f / (f + i); }

DEVICE void forward_step(ForwardUnit& u) {
  for (unsigned gate = FORGET; gate <= INPUT; gate++) u.gates[gate] = sigmoid(u.gates[gate]);
  u.hidden = u.gates[NEW] + normalized_forget(u.gates[FORGET], u.gates[INPUT]) * (u.hidden - u.gates[NEW]);
}

DEVICE void backward_step(const TapeUnit& tape, BackwardUnit& u) {
  const float f = tape.gates[FORGET], i = tape.gates[INPUT], n = tape.gates[NEW];
  const float normalized = normalized_forget(f, i);
  const float q = u.hidden * (tape.hidden_before - n) * (normalized * (1.0f - normalized));
  u.gates[FORGET] = q * (1.0f - f);
  u.gates[INPUT] = q * (i - 1.0f);
  u.gates[NEW] = u.hidden * (1.0f - normalized);
  u.hidden -= u.gates[NEW];
}
