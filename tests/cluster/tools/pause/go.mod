module scone-operator/tests/cluster/pause

go 1.24.0
