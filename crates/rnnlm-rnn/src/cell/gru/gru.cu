// A GRU for one unit of one row, forward and backward. The equations are in `mod.rs`. RECURRENT_MATMULS is 1 if the
// reset gate is applied after the matmul, which all gates share, and 2 if it is applied before the matmul of the new
// gate.

// In the order of the gates.
enum Gate { RESET, UPDATE, NEW };

DEVICE void reset_and_update(ForwardUnit& u) {
  for (unsigned gate = RESET; gate <= UPDATE; gate++) u.gates[gate] = sigmoid(u.gates[gate] + u.recurrent[gate]);
}

#if RECURRENT_MATMULS == 2
// r, z, and m = r ∘ h, the operand of the second matmul.
DEVICE void before_second_matmul(ForwardUnit& u) {
  reset_and_update(u);
  u.candidate = u.gates[RESET] * u.hidden;
}
#endif

DEVICE void forward_step(ForwardUnit& u) {
#if RECURRENT_MATMULS == 2
  u.gates[NEW] = tanhf(u.gates[NEW] + u.recurrent[NEW]);
#else
  reset_and_update(u);
  u.candidate = u.recurrent[NEW];
  u.gates[NEW] = tanhf(u.gates[NEW] + u.gates[RESET] * u.candidate);
#endif
  u.hidden = u.gates[NEW] + u.gates[UPDATE] * (u.hidden - u.gates[NEW]);
}

// ∂z and ∂n; with one matmul also ∂r.
DEVICE void backward_step(const TapeUnit& tape, BackwardUnit& u) {
  const float r = tape.gates[RESET], z = tape.gates[UPDATE], n = tape.gates[NEW];
  const float direct = u.hidden * z;
  u.gates[UPDATE] = u.hidden * (tape.hidden_before - n) * (z * (1.0f - z));
  u.gates[NEW] = (u.hidden - direct) * (1.0f - n * n);
  u.hidden = direct;
  u.recurrent[UPDATE] = u.gates[UPDATE];
#if RECURRENT_MATMULS == 2
  u.recurrent[NEW] = u.gates[NEW];
#else
  u.gates[RESET] = u.gates[NEW] * tape.candidate * (r * (1.0f - r));
  u.recurrent[RESET] = u.gates[RESET];
  u.recurrent[NEW] = u.gates[NEW] * r;
#endif
}

#if RECURRENT_MATMULS == 2
// ∂r, from ∂m = ∂n · W_hn.
DEVICE void after_second_matmul(const TapeUnit& tape, float d_candidate, BackwardUnit& u) {
  const float r = tape.gates[RESET];
  u.gates[RESET] = d_candidate * tape.hidden_before * (r * (1.0f - r));
  u.recurrent[RESET] = u.gates[RESET];
  u.hidden += d_candidate * r;
}
#endif
