package orlop.pod;

import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.MessageLite;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.PooledByteBufAllocator;
import io.netty.buffer.Unpooled;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import orlop.runtime.Workspace;

/** Messages behind their gRPC prefix, as they travel. Pure. */
final class Answers {
  private Answers() {}

  /** Memory that the socket can read, for a message of that many bytes. To be released. */
  static ByteBuf room(int length) {
    int all = Math.addExact(Wire.PREFIX_BYTES, length);
    ByteBuf out = PooledByteBufAllocator.DEFAULT.directBuffer(all, all);
    return out.writeByte(0).writeInt(length).writerIndex(all);
  }

  /**
   * The same, where the address of the message's byte {@code aligned} is a multiple of {@link
   * Workspace#ALIGNMENT_BYTES}. The buffer is read from behind what that leaves free.
   */
  static ByteBuf room(int length, int aligned) {
    int all = Math.addExact(Wire.PREFIX_BYTES, length);
    int most = Math.addExact(all, Workspace.ALIGNMENT_BYTES - 1);
    ByteBuf out = PooledByteBufAllocator.DEFAULT.directBuffer(most, most);
    long address = MemorySegment.ofBuffer(out.internalNioBuffer(0, most)).address();
    int free = (int) (-(address + Wire.PREFIX_BYTES + aligned) & Workspace.ALIGNMENT_BYTES - 1);
    out.setIndex(free, free);
    return out.writeByte(0).writeInt(length).writerIndex(free + all);
  }

  /** Encodes the message once, into such memory. To be released. */
  static ByteBuf framed(MessageLite message) {
    int length = message.getSerializedSize();
    ByteBuf out = room(length);
    try {
      CodedOutputStream coded =
          CodedOutputStream.newInstance(out.nioBuffer(Wire.PREFIX_BYTES, length));
      message.writeTo(coded);
      coded.flush();
      coded.checkNoSpaceLeft();
    } catch (IOException e) {
      out.release();
      throw new IllegalStateException("a message is not as long as it says: " + length, e);
    }
    return out;
  }

  /** The same for a message that is encoded already, without a copy. */
  static ByteBuf framed(byte[] message) {
    return framed(Unpooled.wrappedBuffer(message));
  }

  /** The same, taking the message over. */
  static ByteBuf framed(ByteBuf message) {
    ByteBuf prefix = Unpooled.buffer(Wire.PREFIX_BYTES, Wire.PREFIX_BYTES);
    prefix.writeByte(0).writeInt(message.readableBytes());
    return Unpooled.wrappedBuffer(prefix, message);
  }
}
