module scone-operator/tests/cluster/standin

go 1.24.0
