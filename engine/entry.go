package engine

type entry struct{}
