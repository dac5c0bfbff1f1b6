package orlop.pod;

import com.google.protobuf.ByteString;
import io.grpc.Status;
import io.grpc.StatusException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.PriorityQueue;

/**
 * An output as its best classes: texts {@code value:index}, greatest value first. Source: Triton's
 * classification extension. Pure.
 */
final class Classification {
  /**
   * @param shape of the texts: the best classes, one row of them for each row of a batch
   */
  record Classes(List<Long> shape, List<ByteString> texts) {}

  private record Scored(int index, double value, Number exact) {
    ByteString text() {
      String text =
          exact instanceof Double real ? String.format(Locale.ROOT, "%f", real) : "" + exact;
      return ByteString.copyFromUtf8(text + ":" + index);
    }
  }

  private Classification() {}

  /**
   * @param most classes that are wanted, at least 1
   * @param batched whether the first dimension is a batch
   */
  static Classes of(RestTensor tensor, long most, boolean batched) throws StatusException {
    if (tensor.type() == RestType.BYTES || tensor.type() == RestType.BOOL) {
      throw Status.INVALID_ARGUMENT
          .withDescription(
              "output '%s' is %s, of which there are no best classes"
                  .formatted(tensor.name(), tensor.type()))
          .asException();
    }
    long[] shape = tensor.shape();
    long elements = RestElements.elements(shape);
    boolean rows = batched && shape.length > 0;
    int rowCount = rows ? (int) shape[0] : 1;
    int each = rowCount == 0 ? 0 : (int) (elements / rowCount);
    int wanted = (int) Math.min(most, each);
    List<ByteString> texts = new ArrayList<>(rowCount * wanted);
    for (int row = 0; row < rowCount; row++) {
      best(tensor, each, wanted).forEach(one -> texts.add(one.text()));
    }
    List<Long> told = rows ? List.of((long) rowCount, (long) wanted) : List.of((long) wanted);
    return new Classes(told, texts);
  }

  /** Of the tensor's next elements. */
  private static List<Scored> best(RestTensor tensor, int elements, int wanted) {
    // The worst one kept is at the head; of equals the later one is worse.
    PriorityQueue<Scored> kept =
        new PriorityQueue<>(
            Math.max(1, wanted),
            (a, b) -> {
              int byValue = Double.compare(a.value, b.value);
              return byValue != 0 ? byValue : Integer.compare(b.index, a.index);
            });
    for (int i = 0; i < elements; i++) {
      Number exact = tensor.number();
      Scored next = new Scored(i, exact.doubleValue(), exact);
      if (kept.size() < wanted) {
        kept.add(next);
      } else if (!kept.isEmpty() && next.value > kept.peek().value) {
        kept.poll();
        kept.add(next);
      }
    }
    List<Scored> best = new ArrayList<>();
    while (!kept.isEmpty()) {
      best.addFirst(kept.poll());
    }
    return best;
  }
}
