// The gated recurrent unit for one unit of one row, the walk's stages 5 and 7; the equations stand in `mod.rs`. PRODUCTS is
// 1 with the reset gate after the product, where all gates share it, and 2 with the reset gate before.

constexpr bool KEEPS_GATES = true, KEEPS_CELL = false, KEEPS_CANDIDATE = true;
// In the order of the gates.
enum Gate { RESET, UPDATE, NEW };

DEVICE void reset_and_update(Forward& u) {
  for (unsigned gate = RESET; gate <= UPDATE; gate++) u.gates[gate] = sigmoid(u.gates[gate] + u.recurrent[gate]);
}

#if PRODUCTS == 2
// r, z, and m = r ∘ h, which the second product multiplies.
DEVICE void before_second_product(Forward& u) {
  reset_and_update(u);
  u.candidate = u.gates[RESET] * u.hidden;
}
#endif

DEVICE void forward_step(Forward& u) {
#if PRODUCTS == 2
  u.gates[NEW] = tanhf(u.gates[NEW] + u.recurrent[NEW]);
#else
  reset_and_update(u);
  u.candidate = u.recurrent[NEW];
  u.gates[NEW] = tanhf(u.gates[NEW] + u.gates[RESET] * u.candidate);
#endif
  u.hidden = u.gates[NEW] + u.gates[UPDATE] * (u.hidden - u.gates[NEW]);
}

// ∂z and ∂n; with the reset gate after the product all of the step.
DEVICE void backward_step(const Taped& taped, Backward& u) {
  const float r = taped.gates[RESET], z = taped.gates[UPDATE], n = taped.gates[NEW], direct = u.hidden * z;
  u.gates[UPDATE] = u.hidden * (taped.hidden_before - n) * (z * (1.0f - z));
  u.gates[NEW] = (u.hidden - direct) * (1.0f - n * n);
  u.hidden = direct;
  u.products[UPDATE] = u.gates[UPDATE];
#if PRODUCTS == 2
  u.products[NEW] = u.gates[NEW];
#else
  u.gates[RESET] = u.gates[NEW] * taped.candidate * (r * (1.0f - r));
  u.products[RESET] = u.gates[RESET];
  u.products[NEW] = u.gates[NEW] * r;
#endif
}

#if PRODUCTS == 2
// ∂r, from ∂m = ∂n · W_hn.
DEVICE void after_second_product(const Taped& taped, float d_candidate, Backward& u) {
  const float r = taped.gates[RESET];
  u.gates[RESET] = d_candidate * taped.hidden_before * (r * (1.0f - r));
  u.products[RESET] = u.gates[RESET];
  u.hidden += d_candidate * r;
}
#endif
