package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.UnknownFieldSet;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
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
      rename = adds ? rename.forRequests(null) : rename;
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
    byte[] framed = framed(packed(plain));
    framed[0] = 1;
    Rename rename = new Rename("new", new int[] {2, 3}, 1 << 20).forRequests("gzip");
    byte[] out = pass(rename, framed, new Random(2), 0);
    UnknownFieldSet got = UnknownFieldSet.parseFrom(ByteString.copyFrom(out, 5, out.length - 5));
    assertEquals(0, out[0]);
    assertEquals(List.of("new"), names(got, new int[] {2, 3}, 0));
  }

  @Test
  void aStreamThatNamesAnotherModelLaterIsRefused() throws Exception {
    Rename rename = request("id", NamePeek.FIRST).only(Set.of("id", "alias"));
    for (String name : List.of("alias", "id")) {
      ByteBuf passed = rename.next(Unpooled.wrappedBuffer(framed(named(name))));
      assertNotNull(passed);
      assertEquals(List.of("id"), names(UnknownFieldSet.parseFrom(body(passed)), new int[] {1}, 0));
    }
    assertEquals(
        "a stream for model 'id' carries a request for 'other': open one for each",
        refusal(rename, framed(named("other")), 100));
  }

  /** Parsers take the last of several names: it would run another model than was routed. */
  @Test
  void aRequestThatNamesASecondModelIsRefusedBeforeItIsComplete() throws Exception {
    for (int[] path : new int[][] {{1}, {2, 1}, {2, 3, 1}}) {
      for (String second : List.of("B", "A", "")) {
        ByteArrayOutputStream message = new ByteArrayOutputStream();
        message.writeBytes(nested(path, "A"));
        message.writeBytes(bytes(7, new byte[300_000]));
        message.writeBytes(nested(path, second));
        byte[] framed = framed(message.toByteArray());
        for (int frame : new int[] {1, 2, 16_384, framed.length}) {
          String why = refusal(request("A", path), framed, frame);
          assertTrue(
              why.startsWith("a request for model 'A' names a model 2 times in field "), why);
        }
        framed = framed(packed(message.toByteArray()));
        framed[0] = 1;
        String why = refusal(new Rename("A", path, 1 << 20).forRequests("gzip"), framed, 1_000);
        assertTrue(why.contains(" names a model 2 times "), why);
      }
    }
  }

  @Test
  void aRequestInWhichASecondNameCouldHideIsRefused() throws Exception {
    byte[] swallowed = {7 << 3 | 2, 100, 10, 1, 'B'};
    byte[] group = {7 << 3 | 3, 10, 1, 'B'};
    byte[] number = new byte[12];
    Arrays.fill(number, (byte) 0x80);
    number[0] = 7 << 3;
    for (byte[] hiding : List.of(swallowed, group, number)) {
      ByteArrayOutputStream message = new ByteArrayOutputStream();
      message.writeBytes(named("A"));
      message.writeBytes(hiding);
      byte[] framed = framed(message.toByteArray());
      for (int frame : new int[] {1, 9, framed.length}) {
        String why = refusal(request("id", NamePeek.FIRST), framed, frame);
        assertTrue(why.startsWith("the request is not a well-formed protobuf message: "), why);
      }
    }
    byte[] compressed = framed(named("A"));
    compressed[0] = 1;
    String why = refusal(request("id", NamePeek.FIRST), compressed, 100);
    assertTrue(why.contains("grpc-encoding does not say how"), why);
  }

  @Test
  void aNameAtTheVeryEndOfTheLargestMessageIsChanged() throws Exception {
    ByteArrayOutputStream message = new ByteArrayOutputStream();
    message.writeBytes(bytes(7, new byte[5_000]));
    message.writeBytes(named("alias"));
    Rename rename = new Rename("id", NamePeek.FIRST, message.size()).forRequests(null);
    byte[] out = pass(rename, framed(message.toByteArray()), new Random(4), 0);
    UnknownFieldSet got = UnknownFieldSet.parseFrom(ByteString.copyFrom(out, 5, out.length - 5));
    assertEquals(List.of("id"), names(got, NamePeek.FIRST, 0));
  }

  @Test
  void aRequestThatEndsWithinAMessageIsCutOff() throws Exception {
    byte[] framed = framed(named("A"));
    for (int bytes = 1; bytes <= framed.length; bytes++) {
      Rename rename = request("id", NamePeek.FIRST);
      ByteBuf passed = rename.next(Unpooled.copiedBuffer(framed, 0, bytes));
      assertEquals(bytes < framed.length, rename.cutOff(), bytes + " bytes");
      if (passed != null) {
        passed.release();
      }
    }
  }

  @Test
  void whatWaitsForANameTakesNotMuchMoreThanItsBytes() throws Exception {
    byte[] framed = framed(bytes(9, new byte[100_000]));
    int waiting = 50_000;
    for (Rename rename :
        List.of(request("id", new int[] {9}), new Rename("id", new int[] {9}, 1 << 20))) {
      for (int i = 0; i < waiting; i++) {
        ByteBuf part = Unpooled.copiedBuffer(framed, i, 1);
        assertEquals(null, rename.next(part));
        assertEquals(0, part.refCnt(), "the block that a byte came in is not kept");
      }
      assertTrue(rename.keptBytes() >= waiting, "all of it waits");
      assertTrue(rename.keptBytes() <= 2 * waiting, rename.keptBytes() + " bytes are kept");
    }
  }

  @Test
  void veryManySmallMessagesLeaveAsOneFlatBuffer() throws Exception {
    int messages = 200_000;
    for (Rename rename :
        List.of(request("id", NamePeek.FIRST), new Rename("id", NamePeek.FIRST, 1 << 16))) {
      ByteBuf out = rename.next(Unpooled.buffer().writeZero(messages * Wire.PREFIX_BYTES));
      assertNotNull(out);
      byte[] all = ByteBufUtil.getBytes(out);
      assertEquals(0, all.length % messages);
      assertTrue(out.nioBufferCount() >= 1, "it can be written");
      out.release();
    }
  }

  private static Rename request(String id, int[] path) {
    return new Rename(id, path, 1 << 20).forRequests(null);
  }

  /** Why a request is refused that comes in frames of that size. */
  private static String refusal(Rename rename, byte[] framed, int frame) {
    Compression.Unreadable refused =
        assertThrows(
            Compression.Unreadable.class,
            () -> {
              for (int at = 0; at < framed.length; at += frame) {
                int bytes = Math.min(frame, framed.length - at);
                ByteBuf passed = rename.next(Unpooled.copiedBuffer(framed, at, bytes));
                if (passed != null) {
                  passed.release();
                }
              }
            });
    return String.valueOf(refused.status().getDescription());
  }

  private static byte[] packed(byte[] plain) throws IOException {
    ByteArrayOutputStream packed = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(packed)) {
      gzip.write(plain);
    }
    return packed.toByteArray();
  }

  private static byte[] bytes(int field, byte[] value) {
    return UnknownFieldSet.newBuilder()
        .mergeField(field, bytes(ByteString.copyFrom(value)))
        .build()
        .toByteArray();
  }

  private static byte[] nested(int[] path, String name) {
    byte[] inner = name.getBytes(StandardCharsets.UTF_8);
    for (int i = path.length - 1; i >= 0; i--) {
      inner = bytes(path[i], inner);
    }
    return inner;
  }

  private static byte[] named(String name) {
    return nested(NamePeek.FIRST, name);
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
