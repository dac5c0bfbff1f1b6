package orlop.pod;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import inference.ModelInferResponse;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Whether a model answers each row for itself. Its file says only that there may be any number of
 * them; one that normalises over all rows of a run would tell a caller something else in company
 * than alone. So its first batches are run once more one by one, and have to agree. Thread-safe:
 * when two threads count at the same time, one more batch is compared.
 */
final class RowProof {
  /** Batches that are compared, and those among them in which the requests were not all alike. */
  private static final int COMPARED = 2;

  private static final int UNLIKE = 2;

  /*
   * An engine may sum in another order when there are more rows. Single precision keeps seven
   * digits, so what a few thousand sums lose is far below; what a norm over the rows changes is not.
   */
  private static final double FLOAT_PART = 1e-3;
  private static final double HALF_PART = 2e-2;
  private static final double LEAST = 1e-5;

  private volatile int compared;
  private volatile int unlike;

  /** Whether nothing has to be compared any more. */
  boolean done() {
    return unlike >= UNLIKE;
  }

  /** Whether a batch has to be compared; {@code alike}: all of its requests are the same. */
  boolean wants(boolean alike) {
    return alike ? compared < COMPARED : unlike < UNLIKE;
  }

  /** A batch was compared and agreed. */
  void agreed(boolean alike) {
    compared = compared + 1;
    if (!alike) {
      unlike = unlike + 1;
    }
  }

  /** Whether two answers, behind their prefixes, say the same but for rounding. */
  static boolean same(ByteBuf together, ByteBuf alone) {
    try {
      return same(parsed(together), parsed(alone));
    } catch (InvalidProtocolBufferException e) {
      return false;
    }
  }

  private static ModelInferResponse parsed(ByteBuf framed) throws InvalidProtocolBufferException {
    int length = framed.readableBytes() - Wire.PREFIX_BYTES;
    int start = framed.readerIndex() + Wire.PREFIX_BYTES;
    return ModelInferResponse.parseFrom(ByteBufUtil.getBytes(framed, start, length));
  }

  private static boolean same(ModelInferResponse together, ModelInferResponse alone) {
    if (!together.getOutputsList().equals(alone.getOutputsList())
        || together.getRawOutputContentsCount() != alone.getRawOutputContentsCount()) {
      return false;
    }
    for (int i = 0; i < together.getRawOutputContentsCount(); i++) {
      String datatype = together.getOutputs(i).getDatatype();
      if (!same(datatype, together.getRawOutputContents(i), alone.getRawOutputContents(i))) {
        return false;
      }
    }
    return true;
  }

  private static boolean same(String datatype, ByteString together, ByteString alone) {
    if (together.equals(alone)) {
      return true;
    }
    if (together.size() != alone.size()) {
      return false;
    }
    ByteBuffer a = together.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    ByteBuffer b = alone.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    while (a.hasRemaining()) {
      boolean close =
          switch (datatype) {
            case "FP32" -> close(a.getFloat(), b.getFloat(), FLOAT_PART);
            case "FP64" -> close(a.getDouble(), b.getDouble(), FLOAT_PART);
            case "FP16" -> {
              float x = Float.float16ToFloat(a.getShort());
              yield close(x, Float.float16ToFloat(b.getShort()), HALF_PART);
            }
            case "BF16" -> {
              float x = Float.intBitsToFloat(a.getShort() << 16);
              yield close(x, Float.intBitsToFloat(b.getShort() << 16), HALF_PART);
            }
            default -> false;
          };
      if (!close) {
        return false;
      }
    }
    return true;
  }

  private static boolean close(double a, double b, double part) {
    double most = Math.max(Math.abs(a), Math.abs(b));
    return Double.compare(a, b) == 0
        || Double.isFinite(most) && Math.abs(a - b) <= LEAST + part * most;
  }
}
