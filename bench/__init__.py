"""One experiment: data, models by name, training, evaluation, multiply-adds, throughput, and the record it leaves."""
