package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** What is said of an etcd that fails. */
class EtcdStoreTest {

  @Test
  void theReasonIsOneLineHoweverMuchTheTransportSays() {
    String trace = "deadline exceeded\nCaused by: ConnectException\n\tat sun.nio.ch.Net.poll(Net)";
    assertEquals("deadline exceeded", EtcdStore.reason(new IllegalStateException(trace)));
    assertTrue(EtcdStore.reason(new IllegalStateException("x".repeat(9_000))).length() < 1_000);
    assertEquals("IllegalStateException", EtcdStore.reason(new IllegalStateException("\n ")));
  }
}
