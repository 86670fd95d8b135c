module hyper-connstate/benches

go 1.24
