package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import orlop.api.PodValue;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.Memory;
import orlop.placement.Model;
import orlop.placement.Outlook;
import orlop.placement.Pod;

/** Values: every record comes back; broken bytes are refused, never thrown at the watch. */
class ValuesTest {
  private final Values values = new Values();
  private final SplittableRandom random = new SplittableRandom(11);

  @Test
  void everyRecordRoundTripsAndEqualRecordsHaveEqualBytes() throws Exception {
    for (int i = 0; i < 5_000; i++) {
      Model model = model();
      Model modelBack = values.model(model.id(), values.encode(model));
      assertEquals(model, modelBack);
      assertEquals(values.encode(model), values.encode(modelBack));

      Alias alias = new Alias("a" + i, text(), text(), text(), texts(), text());
      Alias aliasBack = values.alias(alias.name(), values.encode(alias));
      assertEquals(alias, aliasBack);
      assertEquals(values.encode(alias), values.encode(aliasBack));

      Pod pod = pod();
      assertEquals(pod, values.pod(pod.id(), values.encode(pod)));

      Copy copy = new Copy(text(), text(), state(), random.nextLong());
      assertEquals(copy, values.copy(copy.podId(), copy.modelId(), values.encode(copy)));
    }
  }

  @Test
  void brokenBytesAreUnreadableAndNothingElse() {
    int refused = 0;
    for (int i = 0; i < 50_000; i++) {
      ByteString bytes = broken();
      try {
        switch (i % 4) {
          case 0 -> values.model("m", bytes);
          case 1 -> values.alias("a", bytes);
          case 2 -> values.pod("p", bytes);
          default -> values.copy("p", "m", bytes);
        }
      } catch (Values.Unreadable e) {
        refused++;
        assertTrue(e.getMessage() != null);
      }
    }
    assertTrue(refused > 10_000, "most are refused: " + refused);
  }

  @Test
  void valuesThatNoRecordAllowsAreUnreadable() {
    assertThrows(Values.Unreadable.class, () -> values.copy("p", "m", ByteString.EMPTY));
    assertThrows(
        Values.Unreadable.class,
        () -> values.model("", values.encode(Model.of("x", "", "", "", 0))));
    PodValue.Builder pod = PodValue.newBuilder();
    pod.getUsedBuilder().setRamBytes(-1);
    assertThrows(Values.Unreadable.class, () -> values.pod("p", pod.build().toByteString()));
  }

  @Test
  void longReasonsAreCutSoThatEtcdTakesThem() throws Exception {
    Copy copy =
        new Copy(
            "m", "p", new CopyState.FailedToLoad(Fault.TRANSIENT, "😀x".repeat(1 << 20), 1), 2);
    ByteString bytes = values.encode(copy);
    assertTrue(bytes.size() < 20_000, "size " + bytes.size());
    Copy back = values.copy("p", "m", bytes);
    assertEquals(bytes, values.encode(back), "cut between characters");
  }

  private ByteString broken() {
    byte[] bytes;
    if (random.nextBoolean()) {
      bytes = new byte[random.nextInt(40)];
      random.nextBytes(bytes);
    } else {
      bytes = values.encode(pod()).toByteArray();
      for (int i = 0; i < 4 && bytes.length > 0; i++) {
        bytes[random.nextInt(bytes.length)] = (byte) random.nextInt();
      }
      bytes = java.util.Arrays.copyOf(bytes, random.nextInt(bytes.length + 1));
    }
    return ByteString.copyFrom(bytes);
  }

  private Model model() {
    int most = random.nextInt(100);
    return new Model(
        "m" + text(),
        text(),
        text(),
        text(),
        random.nextLong(Long.MAX_VALUE),
        most == 0 ? random.nextInt(9) : random.nextInt(most + 1),
        most,
        texts(),
        texts(),
        random.nextLong());
  }

  private Pod pod() {
    return new Pod(
        "p" + text(),
        text(),
        text(),
        texts(),
        memory(),
        memory(),
        random.nextInt(),
        random.nextLong(),
        random.nextBoolean(),
        random.nextLong(),
        text(),
        new Outlook(
            random.nextLong(),
            random.nextInt(),
            random.nextLong(),
            random.nextLong(),
            Map.of("onnx", random.nextLong(), "b" + text(), random.nextLong()),
            random.nextDouble(),
            random.nextLong()));
  }

  private CopyState state() {
    return switch (random.nextInt(4)) {
      case 0 -> new CopyState.Loading();
      case 1 -> new CopyState.Loaded(memory(), random.nextLong());
      case 2 ->
          new CopyState.FailedToLoad(Fault.values()[random.nextInt(4)], text(), random.nextLong());
      default -> new CopyState.Unloading();
    };
  }

  private Memory memory() {
    return new Memory(random.nextLong(Long.MAX_VALUE), random.nextLong(Long.MAX_VALUE));
  }

  private Set<String> texts() {
    Set<String> texts = new HashSet<>();
    for (int i = random.nextInt(4); i > 0; i--) {
      texts.add(text());
    }
    return texts;
  }

  private String text() {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(8); i > 0; i--) {
      int code = random.nextInt(random.nextBoolean() ? 128 : 0x110000);
      text.appendCodePoint(code >= 0xD800 && code < 0xE000 ? 'x' : code);
    }
    return text.toString();
  }
}
