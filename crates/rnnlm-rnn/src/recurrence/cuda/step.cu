// One step of a layer of any size, beside the walk: what stands between two products with W_hh, forward and back. One thread
// a unit of one row of the batch; the products are the backend's, and every matrix holds the rows of one step.

// `products` is `h W_hhᵀ`. An Elman cell's share of the input stands where its state will.
KERNEL(256) step_forward(Matrix products, Matrix bias, Matrix gates, Matrix hidden_before, Matrix cell_before,
                         Matrix hidden, Matrix cell, Matrix candidate) {
  const Element e = element_of(hidden);
  if (!e.exists) return;
  const unsigned h = hidden.cols;
  Forward u;
  for (unsigned gate = 0; gate < GATES; gate++) {
    const unsigned col = gate * h + e.col;
    u.gates[gate] = KEEPS_GATES ? gates.at(e.row, col) : hidden.at(e.row, e.col);
    u.recurrent[gate] = products.at(e.row, col) + bias.at(0, col);
  }
  u.hidden = hidden_before.at(e.row, e.col);
  u.cell = KEEPS_CELL ? cell_before.at(e.row, e.col) : 0.0f;
  forward_step(u);
  hidden.at(e.row, e.col) = u.hidden;
  if (KEEPS_CELL) cell.at(e.row, e.col) = u.cell;
  if (KEEPS_CANDIDATE) candidate.at(e.row, e.col) = u.candidate;
  for (unsigned gate = 0; KEEPS_GATES && gate < GATES; gate++) gates.at(e.row, gate * h + e.col) = u.gates[gate];
}

// From the gradients of output and state after the step to those of the pre-activations, and of the state before it but for
// what comes through W_hh. `products` is what W_hh is multiplied by, where that is not `d_gates`.
KERNEL(256) step_backward(Matrix gates, Matrix hidden_before, Matrix cell_before, Matrix hidden, Matrix cell,
                          Matrix candidate, Matrix output, Matrix d_gates, Matrix d_candidate, Matrix d_hidden,
                          Matrix d_cell, Matrix products) {
  const Element e = element_of(d_hidden);
  if (!e.exists) return;
  const unsigned h = d_hidden.cols;
  Taped taped;
  for (unsigned gate = 0; gate < GATES; gate++)
    taped.gates[gate] = KEEPS_GATES ? gates.at(e.row, gate * h + e.col) : 0.0f;
  taped.hidden_before = hidden_before.at(e.row, e.col);
  taped.hidden = hidden.at(e.row, e.col);
  taped.cell_before = KEEPS_CELL ? cell_before.at(e.row, e.col) : 0.0f;
  taped.cell = KEEPS_CELL ? cell.at(e.row, e.col) : 0.0f;
  taped.candidate = KEEPS_CANDIDATE ? candidate.at(e.row, e.col) : 0.0f;
  Backward u;
  u.hidden = d_hidden.at(e.row, e.col) + output.at(e.row, e.col);
  u.cell = KEEPS_CELL ? d_cell.at(e.row, e.col) : 0.0f;
  backward_step(taped, u);
  d_hidden.at(e.row, e.col) = u.hidden;
  if (KEEPS_CELL) d_cell.at(e.row, e.col) = u.cell;
  if (KEEPS_CANDIDATE) d_candidate.at(e.row, e.col) = u.products[GATES - 1];
  for (unsigned gate = 0; gate < GATES; gate++) {
    d_gates.at(e.row, gate * h + e.col) = u.gates[gate];
    if (KEEPS_CANDIDATE) products.at(e.row, gate * h + e.col) = u.products[gate];
  }
}
