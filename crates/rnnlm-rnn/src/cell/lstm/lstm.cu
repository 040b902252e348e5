// An LSTM for one unit of one row, forward and backward. The equations are in `mod.rs`.

// In the order of the gates.
enum Gate { INPUT, FORGET, CELL, OUTPUT };

DEVICE void forward_step(ForwardUnit& u) {
  for (unsigned gate = 0; gate < GATES; gate++) {
    const float z = u.gates[gate] + u.recurrent[gate];
    u.gates[gate] = gate == CELL ? tanhf(z) : sigmoid(z);
  }
  u.cell = u.gates[FORGET] * u.cell + u.gates[INPUT] * u.gates[CELL];
  u.hidden = u.gates[OUTPUT] * tanhf(u.cell);
}

DEVICE void backward_step(const TapeUnit& tape, BackwardUnit& u) {
  const float i = tape.gates[INPUT], f = tape.gates[FORGET], g = tape.gates[CELL], o = tape.gates[OUTPUT];
  const float tanh_c = tanhf(tape.cell);
  u.cell += u.hidden * (1.0f - tanh_c * tanh_c) * o;
  u.gates[INPUT] = u.cell * g * (i * (1.0f - i));
  u.gates[FORGET] = u.cell * tape.cell_before * (f * (1.0f - f));
  u.gates[CELL] = u.cell * i * (1.0f - g * g);
  u.gates[OUTPUT] = u.hidden * tanh_c * (o * (1.0f - o));
  for (unsigned gate = 0; gate < GATES; gate++) u.recurrent[gate] = u.gates[gate];
  u.cell *= f;
  u.hidden = 0.0f;
}
