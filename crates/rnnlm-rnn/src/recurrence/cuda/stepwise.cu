// One step of a layer of any size: everything but the matmul with W_hh, which the backend computes. One thread per unit
// of a row. Every matrix has the rows of one step.

// `recurrent` is `h W_hhᵀ`; it and `bias` are empty for a cell without recurrent weights. An Elman cell has no gates on the tape: `hidden` holds W_ih x + b_ih until the state
// replaces it.
KERNEL(256) step_forward(Matrix recurrent, Matrix bias, Matrix gates, Matrix hidden_before, Matrix cell_before,
                         Matrix hidden, Matrix cell, Matrix candidate) {
  const Element e = thread_element(hidden);
  if (!e.exists) return;
  const unsigned h = hidden.cols;
  ForwardUnit u;
  for (unsigned gate = 0; gate < GATES; gate++) {
    const unsigned col = gate * h + e.col;
    u.gates[gate] = STORES_GATES ? gates.at(e.row, col) : hidden.at(e.row, e.col);
    u.recurrent[gate] = RECURRENT_MATMULS ? recurrent.at(e.row, col) + bias.at(0, col) : 0.0f;
  }
  u.hidden = hidden_before.at(e.row, e.col);
  u.cell = STORES_CELL ? cell_before.at(e.row, e.col) : 0.0f;
  forward_step(u);
  hidden.at(e.row, e.col) = u.hidden;
  if (STORES_CELL) cell.at(e.row, e.col) = u.cell;
  if (STORES_CANDIDATE) candidate.at(e.row, e.col) = u.candidate;
  for (unsigned gate = 0; STORES_GATES && gate < GATES; gate++) gates.at(e.row, gate * h + e.col) = u.gates[gate];
}

// From the gradients of the output and of the state after the step to the gradients of the pre-activations and of the
// state before the step, without the part that comes through W_hh. `d_recurrent` is filled if STORES_D_CANDIDATE; else
// the operand of the matmul with W_hh is `d_gates`.
KERNEL(256) step_backward(Matrix gates, Matrix hidden_before, Matrix cell_before, Matrix hidden, Matrix cell,
                          Matrix candidate, Matrix output, Matrix d_gates, Matrix d_candidate, Matrix d_hidden,
                          Matrix d_cell, Matrix d_recurrent) {
  const Element e = thread_element(d_hidden);
  if (!e.exists) return;
  const unsigned h = d_hidden.cols;
  TapeUnit tape;
  for (unsigned gate = 0; gate < GATES; gate++)
    tape.gates[gate] = STORES_GATES ? gates.at(e.row, gate * h + e.col) : 0.0f;
  tape.hidden_before = hidden_before.at(e.row, e.col);
  tape.hidden = hidden.at(e.row, e.col);
  tape.cell_before = STORES_CELL ? cell_before.at(e.row, e.col) : 0.0f;
  tape.cell = STORES_CELL ? cell.at(e.row, e.col) : 0.0f;
  tape.candidate = STORES_CANDIDATE ? candidate.at(e.row, e.col) : 0.0f;
  BackwardUnit u;
  u.hidden = d_hidden.at(e.row, e.col) + output.at(e.row, e.col);
  u.cell = STORES_CELL ? d_cell.at(e.row, e.col) : 0.0f;
  backward_step(tape, u);
  d_hidden.at(e.row, e.col) = u.hidden;
  if (STORES_CELL) d_cell.at(e.row, e.col) = u.cell;
  if (STORES_D_CANDIDATE) d_candidate.at(e.row, e.col) = u.recurrent[GATES - 1];
  for (unsigned gate = 0; gate < GATES; gate++) {
    d_gates.at(e.row, gate * h + e.col) = u.gates[gate];
    if (STORES_D_CANDIDATE) d_recurrent.at(e.row, gate * h + e.col) = u.recurrent[gate];
  }
}
