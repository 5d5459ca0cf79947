"""Results as readable tables."""


def results_table(rows, *, one_line_each=False):
    """Returns a plain-text table of accuracies in percent with their 95 % intervals.

    Args:
        rows: dict of row title -> dict of attack name -> record of `EvaluationRecord`.
        one_line_each: a line a row also where there is only one row.
    """
    attacks = list(dict.fromkeys(name for results in rows.values() for name in results))
    width = max(len("model"), *(len(title) for title in rows))
    if len(rows) == 1 and not one_line_each:
        ((title, results),) = rows.items()
        widest = max(10, *map(len, results))
        lines = [title, f"  {'attack':<{widest}} {'accuracy':>8}   95 % interval     images  seconds"]
        for name, record in results.items():
            low, high = record["confidence_interval_95"]
            seconds = f"{record['seconds']:.1f}" if "seconds" in record else ""
            lines.append(
                f"  {name:<{widest}} {100 * record['accuracy']:>7.2f}%  {100 * low:>6.2f} to {100 * high:<6.2f}  "
                f"{record['num_examples']:>7}  {seconds:>7}"
            )
        return "\n".join(lines)
    lines = [f"{'model':<{width}}" + "".join(f"{name:>18}" for name in attacks)]
    for title, results in rows.items():
        cells = "".join(f"{_cell(results.get(name)):>18}" for name in attacks)
        lines.append(f"{title:<{width}}{cells}")
    return "\n".join(lines)


def _cell(record):
    if record is None:
        return "-"
    low, high = record["confidence_interval_95"]
    return f"{100 * record['accuracy']:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def audit_table(signs):
    """Returns a plain-text list of `agkd_tf.evaluation.Sign`s: raised or not, why, and what to do."""
    lines = []
    for sign in signs:
        lines.append(f"  {'RAISED' if sign.raised else 'ok':<6}  {sign.name}: {sign.evidence}")
        if sign.raised:
            lines += [f"          means: {sign.meaning}", f"          do:    {sign.remedy}"]
    raised = sum(sign.raised for sign in signs)
    lines.append(f"  {raised} of {len(signs)} raised" + ("" if raised else ": nothing speaks against the accuracies"))
    return "\n".join(lines)
