"""How a layer of a cell is run over time: the engines, and the table that chooses one."""
