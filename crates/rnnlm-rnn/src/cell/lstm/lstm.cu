// Long short-term memory for one unit of one row, the walk's stages 5 and 7; the equations stand in `mod.rs`.

constexpr bool KEEPS_GATES = true, KEEPS_CELL = true, KEEPS_CANDIDATE = false;
// In the order of the gates.
enum Gate { INPUT, FORGET, CELL, OUTPUT };

DEVICE void forward_step(Forward& u) {
  for (unsigned gate = 0; gate < GATES; gate++) {
    const float z = u.gates[gate] + u.recurrent[gate];
    u.gates[gate] = gate == CELL ? tanhf(z) : sigmoid(z);
  }
  u.cell = u.gates[FORGET] * u.cell + u.gates[INPUT] * u.gates[CELL];
  u.hidden = u.gates[OUTPUT] * tanhf(u.cell);
}

DEVICE void backward_step(const Taped& taped, Backward& u) {
  const float i = taped.gates[INPUT], f = taped.gates[FORGET], g = taped.gates[CELL], o = taped.gates[OUTPUT];
  const float tanh_c = tanhf(taped.cell);
  u.cell += u.hidden * (1.0f - tanh_c * tanh_c) * o;
  u.gates[INPUT] = u.cell * g * (i * (1.0f - i));
  u.gates[FORGET] = u.cell * taped.cell_before * (f * (1.0f - f));
  u.gates[CELL] = u.cell * i * (1.0f - g * g);
  u.gates[OUTPUT] = u.hidden * tanh_c * (o * (1.0f - o));
  for (unsigned gate = 0; gate < GATES; gate++) u.products[gate] = u.gates[gate];
  u.cell *= f;
  u.hidden = 0.0f;
}
