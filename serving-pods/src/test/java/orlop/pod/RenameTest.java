package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnknownFieldSet;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;

/**
 * Whatever pieces a stream of messages comes in, what leaves are the same messages with the name
 * changed, and nothing else. Method: random messages and paths, compared field by field.
 */
class RenameTest {
  private static final int ROUNDS = 5_000;

  @Test
  void changesTheNameOfEveryMessageAndNothingElse() throws Exception {
    Random random = new Random(7);
    for (int round = 0; round < ROUNDS; round++) {
      int[] path = random.ints(1 + random.nextInt(4), 1, 40).toArray();
      String name = "n".repeat(1 + random.nextInt(300));
      int maxHead = random.nextInt(3) == 0 ? 1 << 20 : 1 << 16;
      boolean adds = random.nextBoolean();
      Rename rename = new Rename(name, path, maxHead);
      rename = adds ? rename.adding() : rename;
      ByteArrayOutputStream all = new ByteArrayOutputStream();
      int messages = 1 + random.nextInt(4);
      UnknownFieldSet[] sent = new UnknownFieldSet[messages];
      for (int i = 0; i < messages; i++) {
        sent[i] = message(random, path, 0, random.nextInt(4) > 0);
        all.write(framed(sent[i].toByteArray()));
      }
      byte[] received = pass(rename, all.toByteArray(), random, round);
      int at = 0;
      for (UnknownFieldSet message : sent) {
        int length = Unpooled.wrappedBuffer(received).getInt(at + 1);
        UnknownFieldSet out =
            UnknownFieldSet.parseFrom(ByteString.copyFrom(received, at + 5, length));
        at += 5 + length;
        boolean named = adds || !names(message, path, 0).isEmpty();
        assertEquals(
            named ? List.of(name) : List.of(),
            names(out, path, 0),
            () -> "path " + Arrays.toString(path));
        assertEquals(others(message, path, 0), others(out, path, 0));
      }
      assertEquals(received.length, at);
    }
  }

  @Test
  void aCompressedMessagePassesUncompressedWithTheNameChanged() throws Exception {
    byte[] plain = message(new Random(1), new int[] {2, 3}, 0, true).toByteArray();
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(packed)) {
      gzip.write(plain);
    }
    byte[] framed = framed(packed.toByteArray());
    framed[0] = 1;
    Rename rename = new Rename("new", new int[] {2, 3}, 1 << 20).decompressing("gzip");
    byte[] out = pass(rename, framed, new Random(2), 0);
    UnknownFieldSet got = UnknownFieldSet.parseFrom(ByteString.copyFrom(out, 5, out.length - 5));
    assertEquals(0, out[0]);
    assertEquals(List.of("new"), names(got, new int[] {2, 3}, 0));
  }

  @Test
  void aStreamThatNamesAnotherModelLaterIsRefused() throws Exception {
    Rename rename = new Rename("id", new int[] {1}, 1 << 20).only(Set.of("id", "alias"));
    for (String name : List.of("alias", "id")) {
      ByteBuf passed = rename.next(Unpooled.wrappedBuffer(framed(named(name))));
      assertNotNull(passed);
      assertEquals(List.of("id"), names(UnknownFieldSet.parseFrom(body(passed)), new int[] {1}, 0));
    }
    Compression.Unreadable refused =
        assertThrows(
            Compression.Unreadable.class,
            () -> rename.next(Unpooled.wrappedBuffer(framed(named("other")))));
    assertEquals(
        "a stream for model 'id' carries a request for 'other': open one for each",
        refused.status().getDescription());
  }

  private static byte[] named(String name) {
    return UnknownFieldSet.newBuilder()
        .mergeField(1, bytes(ByteString.copyFromUtf8(name)))
        .build()
        .toByteArray();
  }

  private static ByteString body(ByteBuf framed) {
    return ByteString.copyFrom(ByteBufUtil.getBytes(framed, 5, framed.readableBytes() - 5));
  }

  private static byte[] pass(Rename rename, byte[] in, Random random, int round) throws Exception {
    ByteBuf out = Unpooled.buffer();
    List<ByteBuf> parts = new ArrayList<>();
    int at = 0;
    while (at < in.length) {
      int bytes = Math.min(in.length - at, 1 + random.nextInt(round % 2 == 0 ? 7 : 4_000));
      ByteBuf part = Unpooled.copiedBuffer(in, at, bytes);
      parts.add(part);
      at += bytes;
      ByteBuf passed = rename.next(part);
      if (passed != null) {
        out.writeBytes(passed);
        passed.release();
      }
    }
    ByteBuf rest = rename.rest();
    assertEquals(null, rest, "something was kept back to the end");
    parts.forEach(part -> assertEquals(0, part.refCnt(), "a part was not released"));
    return ByteBufUtil.getBytes(out);
  }

  private static byte[] framed(byte[] message) {
    ByteBuf framed = Answers.framed(message);
    return ByteBufUtil.getBytes(framed);
  }

  /** Fields before and after, on each level, and the name at the end of the path or not at all. */
  private static UnknownFieldSet message(Random random, int[] path, int depth, boolean there) {
    UnknownFieldSet.Builder message = UnknownFieldSet.newBuilder();
    for (int i = random.nextInt(3); i > 0; i--) {
      noise(random, path[depth], message);
    }
    if (there) {
      ByteString value =
          depth == path.length - 1
              ? ByteString.copyFromUtf8("old" + random.nextInt(1_000))
              : message(random, path, depth + 1, true).toByteString();
      message.mergeField(path[depth], bytes(value));
    }
    for (int i = random.nextInt(3); i > 0; i--) {
      noise(random, path[depth], message);
    }
    return message.build();
  }

  private static void noise(Random random, int not, UnknownFieldSet.Builder into) {
    int number = 1 + random.nextInt(60);
    if (number == not) {
      return;
    }
    into.mergeField(
        number,
        switch (random.nextInt(3)) {
          case 0 -> UnknownFieldSet.Field.newBuilder().addVarint(random.nextLong()).build();
          case 1 -> UnknownFieldSet.Field.newBuilder().addFixed32(random.nextInt()).build();
          default -> bytes(ByteString.copyFrom(new byte[random.nextInt(500)]));
        });
  }

  private static UnknownFieldSet.Field bytes(ByteString value) {
    return UnknownFieldSet.Field.newBuilder().addLengthDelimited(value).build();
  }

  private static List<String> names(UnknownFieldSet message, int[] path, int depth)
      throws InvalidProtocolBufferException {
    List<String> names = new ArrayList<>();
    for (ByteString value : message.getField(path[depth]).getLengthDelimitedList()) {
      if (depth == path.length - 1) {
        names.add(value.toStringUtf8());
      } else {
        names.addAll(names(UnknownFieldSet.parseFrom(value), path, depth + 1));
      }
    }
    return names;
  }

  /** The message without the name and without what only leads to it. */
  private static UnknownFieldSet others(UnknownFieldSet message, int[] path, int depth)
      throws InvalidProtocolBufferException {
    UnknownFieldSet.Builder rest = message.toBuilder().clearField(path[depth]);
    if (depth < path.length - 1) {
      for (ByteString value : message.getField(path[depth]).getLengthDelimitedList()) {
        UnknownFieldSet inner = others(UnknownFieldSet.parseFrom(value), path, depth + 1);
        if (!inner.asMap().isEmpty()) {
          rest.mergeField(path[depth], bytes(inner.toByteString()));
        }
      }
    }
    return rest.build();
  }
}
