"""Two ways of running an encoder-decoder: padded batches for any model, packed rows for T5 on a CPU."""
