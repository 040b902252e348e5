// What one thread of a fused recurrence holds of one row of the batch, beside the walk: a unit of the layer with all its
// gates. A cell's file (`elman/elman.cu`, `gru/gru.cu`, `lstm/lstm.cu`) says what becomes of it in one step, forward and
// back; `recurrence.cu` and `spread.cu` have the products and the loop over time.
//
// Constants from the host: GATES of the cell; PRODUCTS with W_hh a step, of which a second one has the last gate alone;
// UNITS, the hidden size rounded up to one that there is a kernel for; in `recurrence.cu` GROUP, the rows of the batch that a
// block has.

// Gates of the first product.
constexpr unsigned FIRST_GATES = PRODUCTS == 2 ? GATES - 1 : GATES;

// A step forward.
struct Forward {
  // In: W_ih x + b_ih. Out: activated.
  float gates[GATES];
  // In: the product with W_hh, and b_hh.
  float recurrent[GATES];
  // In: h and c before the step. Out: after it.
  float hidden, cell;
  // Out: what a GRU keeps of the step.
  float candidate;
};

// What the tape has of a step, and the gradient of its output.
struct Taped {
  float gates[GATES], hidden_before, hidden, cell_before, cell, candidate, output;
};

// A step back.
struct Backward {
  // In: the gradients of h and c after the step. Out: of c before it, and of h but for what comes through W_hh.
  float hidden, cell;
  // Out: gradients of the pre-activations.
  float gates[GATES];
  // Out: what is multiplied by W_hh, gate by gate.
  float products[GATES];
};

// Four neighbours along k, read at once.
struct alignas(16) Four {
  float x, y, z, w;
};

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
