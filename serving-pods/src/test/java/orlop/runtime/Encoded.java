package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;

import inference.ModelInferRequest;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * One request in direct memory, at any alignment, and the answer it gets, in memory that held
 * something else before and has more behind and before it.
 */
final class Encoded implements EncodedCall {
  private static final byte OTHERS = 0x5a;
  private static final int AROUND = 256;

  final EncodedRequest request = new EncodedRequest();
  final ModelInferRequest decoded;
  final boolean plain;
  byte[] version = {};

  /** How far the answer lies from where it would be aligned. */
  int askew;

  /** How often memory was asked for. */
  int rooms;

  private byte[] around = {};
  private ByteBuffer memory = ByteBuffer.allocate(0);
  private int from;
  private int length;

  Encoded(ModelInferRequest decoded, int offset) {
    this.decoded = decoded;
    byte[] bytes = decoded.toByteArray();
    ByteBuffer direct = ByteBuffer.allocateDirect(bytes.length + offset);
    direct.put(offset, bytes);
    this.plain = request.read(direct.position(offset));
  }

  @Override
  public EncodedRequest request() {
    return request;
  }

  @Override
  public byte[] modelName() {
    return decoded.getModelName().getBytes(StandardCharsets.UTF_8);
  }

  @Override
  public byte[] modelVersion() {
    return version;
  }

  @Override
  public ByteBuffer room(int bytes, int aligned) {
    rooms++;
    around = new byte[bytes + 2 * AROUND];
    Arrays.fill(around, OTHERS);
    memory = ByteBuffer.allocateDirect(around.length).put(0, around);
    length = bytes;
    long address = MemorySegment.ofBuffer(memory).address() + Workspace.ALIGNMENT_BYTES + aligned;
    from = Workspace.ALIGNMENT_BYTES + (int) (-address & Workspace.ALIGNMENT_BYTES - 1) + askew;
    return memory.slice(from, bytes);
  }

  /** The answer; nothing is there beside it. */
  byte[] answer() {
    byte[] all = new byte[memory.capacity()];
    memory.get(0, all);
    byte[] bytes = Arrays.copyOfRange(all, from, from + length);
    Arrays.fill(all, from, from + length, OTHERS);
    assertEquals(-1, Arrays.mismatch(all, around), "a byte beside the answer");
    return bytes;
  }
}
