module scone-operator/tests/cluster/registry

go 1.24.0
