package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import org.jspecify.annotations.Nullable;

/**
 * Looks for the model's name in the request of a call while it arrives. Owned by the call's event
 * loop.
 */
final class Naming {
  private final Request request;
  private @Nullable NamePeek peek;
  private boolean peeked;

  Naming(Request request) {
    this.request = request;
  }

  /** Where the name stands in the first message; null while that is not known. */
  @Nullable NamePeek found() {
    return peeked ? peek : null;
  }

  /**
   * Looks on in what waits.
   *
   * @return the name, which is empty when headers say it or nobody does; null while more must come
   * @throws Compression.Unreadable when there is no message that can be read
   */
  @Nullable String look(Call call) throws Compression.Unreadable {
    ByteBuf held = request.held();
    if (held == null || held.readableBytes() < Wire.PREFIX_BYTES) {
      if (request.ended()) {
        throw new Compression.Unreadable(Request.EMPTY);
      }
      return null;
    }
    boolean byHeaders = call.namedByHeaders();
    if (call.op.namePath.length == 0) {
      return "";
    }
    try {
      if (held.getByte(held.readerIndex()) == 0) {
        return plain(held, call.op.namePath, byHeaders);
      }
      return byHeaders ? "" : compressed(call);
    } catch (InvalidProtocolBufferException e) {
      throw new Compression.Unreadable(Status.INVALID_ARGUMENT.withDescription(e.getMessage()));
    }
  }

  private @Nullable String plain(ByteBuf held, int[] path, boolean byHeaders)
      throws InvalidProtocolBufferException {
    NamePeek looking = peek == null ? new NamePeek(path) : peek;
    peek = looking;
    int length = held.getInt(held.readerIndex() + 1);
    int here = held.readableBytes() - Wire.PREFIX_BYTES;
    ByteBuf message = held.slice(held.readerIndex() + Wire.PREFIX_BYTES, here);
    peeked = looking.look(message, length) != NamePeek.Found.MORE;
    return peeked || byHeaders ? looking.name() : null;
  }

  /** A compressed message must be there as a whole before its name can be read. */
  private @Nullable String compressed(Call call)
      throws InvalidProtocolBufferException, Compression.Unreadable {
    if (!request.ended()) {
      return null;
    }
    ByteBuf message = request.message(call.headers.get(Wire.ENCODING));
    try {
      NamePeek looking = new NamePeek(call.op.namePath);
      looking.look(message, message.readableBytes());
      return looking.name();
    } finally {
      message.release();
    }
  }
}
