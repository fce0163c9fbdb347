"""The comparison's harness: install, start, watch, measure, report. Standard library only; Linux only."""
