package orlop.pod;

import io.grpc.Status;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * The calls of one model under one name, or of all models together: times and sizes by method and
 * code. Lock-free.
 */
final class Meter {
  private static final Status.Code[] CODES = Status.Code.values();

  /** What is told apart by method and code. */
  enum Figure {
    CALL(Distribution.Scale.TIME),
    RUN(Distribution.Scale.TIME),
    REQUEST(Distribution.Scale.MESSAGE),
    ANSWER(Distribution.Scale.MESSAGE);

    private final Distribution.Scale scale;

    Figure(Distribution.Scale scale) {
      this.scale = scale;
    }
  }

  /** Sees what there is of one figure. */
  interface Sink {
    void take(Op op, Status.Code code, Distribution values);
  }

  /** Empty together with {@link #alias} for all models. */
  final String modelId;

  /** The name that was called when it was no model's own. */
  final String alias;

  final LongAdder uses = new LongAdder();
  final LongAdder hops = new LongAdder();
  final LongAdder coldWaits = new LongAdder();

  /** How much it was used of late; owned by {@link Meters}. */
  double score;

  long usesSeen;

  private final AtomicReferenceArray<@Nullable Distribution> cells =
      new AtomicReferenceArray<>(Figure.values().length * Op.KINDS.size() * CODES.length);

  Meter(String modelId, String alias) {
    this.modelId = modelId;
    this.alias = alias;
  }

  void add(Figure figure, Op op, Status.Code code, long value) {
    cell(figure, op, code).add(value);
  }

  private Distribution cell(Figure figure, Op op, Status.Code code) {
    int at = (figure.ordinal() * Op.KINDS.size() + op.kind) * CODES.length + code.ordinal();
    Distribution known = cells.get(at);
    if (known == null) {
      Distribution made = new Distribution(figure.scale);
      Distribution other = cells.compareAndExchange(at, null, made);
      known = other == null ? made : other;
    }
    return known;
  }

  void each(Figure figure, Sink sink) {
    for (Op op : Op.KINDS) {
      for (Status.Code code : CODES) {
        int at = (figure.ordinal() * Op.KINDS.size() + op.kind) * CODES.length + code.ordinal();
        Distribution values = cells.get(at);
        if (values != null) {
          sink.take(op, code, values);
        }
      }
    }
  }

  /** Takes over what another one has counted. */
  void addAll(Meter other) {
    uses.add(other.uses.sum());
    hops.add(other.hops.sum());
    coldWaits.add(other.coldWaits.sum());
    for (Figure figure : Figure.values()) {
      other.each(figure, (op, code, values) -> cell(figure, op, code).addAll(values));
    }
  }
}
