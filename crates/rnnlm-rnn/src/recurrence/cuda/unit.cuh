// One unit of a layer in one row of the batch, with all its gates: the values that a thread has of it in one step. A
// cell's file (`cell/NAME/NAME.cu`) computes one step of a unit, forward and backward; `persistent.cu`, `multi_block.cu`
// and `stepwise.cu` have the matmuls and the loop over time.
//
// Constants from the host:
// - GATES: the cell's gates.
// - RECURRENT_MATMULS: matmuls with W_hh in a step, 0 to 2. A second one has the last gate alone.
// - STORES_GATES, STORES_CELL, STORES_CANDIDATE: which values of a step are on the tape.
// - STORES_D_CANDIDATE: whether the last gate's matmul has another gradient than its pre-activation, and stores it.

// Gates of the first matmul.
constexpr unsigned FIRST_GATES = RECURRENT_MATMULS == 2 ? GATES - 1 : GATES;

// A forward step.
struct ForwardUnit {
  // In: W_ih x + b_ih. Out: the activated gates.
  float gates[GATES];
  // In: the matmul with W_hh, and b_hh.
  float recurrent[GATES];
  // In: h and c before the step. Out: after the step.
  float hidden, cell;
  // Out: the GRU's candidate.
  float candidate;
};

// The values of a step on the tape, and the gradient of its output.
struct TapeUnit {
  float gates[GATES], hidden_before, hidden, cell_before, cell, candidate, output;
};

// A backward step.
struct BackwardUnit {
  // In: the gradients of h and c after the step. Out: before the step, for h without the part that comes through W_hh.
  float hidden, cell;
  // Out: the gradients of the pre-activations.
  float gates[GATES];
  // Out: the gradients of the matmul with W_hh, gate by gate.
  float recurrent[GATES];
};

// Four consecutive elements, accessed as one.
struct alignas(16) Float4 {
  float x, y, z, w;
};

DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
