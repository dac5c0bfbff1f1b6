package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.options.PutOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.TcpProxy;

/** One leader at a time, and none that does not know that it leads no more. */
@Tag("slow")
class EtcdElectionTest extends WithEtcd {
  @Test
  void oneLeaderStopsBeforeTheNextOneStartsWhenItLosesTheNetwork() throws Exception {
    TcpProxy network = proxy();
    EtcdRegistry first = connect(network.endpoint(), 3_000, 2_000);
    EtcdRegistry second = connect(3_000);
    List<String> heard = Collections.synchronizedList(new ArrayList<>());
    first.campaign("first", standing -> heard.add("first " + standing.place()));
    Await.until("the first leads", () -> heard.size() == 1);
    second.campaign("second", standing -> heard.add("second " + standing.place()));
    Await.until("the second is next", () -> heard.size() == 2);

    network.cut();
    Await.until("the second leads", () -> heard.contains("second LEADS"));
    assertEquals(List.of("first LEADS", "second NEXT", "first WAITS", "second LEADS"), heard);
    network.mend();
    Await.until("the first is back, and next", () -> heard.contains("first NEXT"));
    pass(3_000);
    assertEquals(5, heard.size(), () -> "the second keeps leading: " + heard);
  }

  /**
   * Both leases end within the same seconds, and the third must not wait for the second for good.
   */
  @Test
  void whenTheLeaderAndTheNextOneLoseTheNetworkTheThirdLeads() throws Exception {
    TcpProxy network = proxy();
    List<String> heard = Collections.synchronizedList(new ArrayList<>());
    for (String id : List.of("first", "second")) {
      connect(network.endpoint(), 3_000, 2_000)
          .campaign(id, standing -> heard.add(id + " " + standing.place()));
      String place = id.equals("first") ? "first LEADS" : "second NEXT";
      Await.until(place, () -> heard.contains(place));
    }
    connect(3_000).campaign("third", standing -> heard.add("third " + standing.place()));
    network.cut();
    Await.until("the third leads", () -> heard.contains("third LEADS"));
    assertTrue(!heard.contains("second LEADS"), heard::toString);
  }

  /** As when etcd carries out late what was given up, while the leader's key has become free. */
  @Test
  void aLeaderThatIsAlsoNextMakesWayForAnother() throws Exception {
    EtcdRegistry registry = connect(10_000);
    List<String> heard = Collections.synchronizedList(new ArrayList<>());
    EtcdCandidate first =
        (EtcdCandidate)
            registry.campaign("first", standing -> heard.add("first " + standing.place()));
    Await.until("the first leads", () -> heard.contains("first LEADS"));
    String next = new Keyspace(registry.store().config().root(), "m").next();
    PutOption option = PutOption.builder().withLeaseId(first.leaseId()).build();
    registry
        .store()
        .client()
        .getKVClient()
        .put(EtcdStore.bytes(next), EtcdStore.bytes("first"), option)
        .get(30, TimeUnit.SECONDS);
    connect(10_000).campaign("second", standing -> heard.add("second " + standing.place()));
    Await.until("the second is next", () -> heard.contains("second NEXT"));
    assertTrue(first.leaseId() != 0 && !heard.contains("first WAITS"), heard::toString);
  }

  @Test
  void aLeaderKeepsLeadingThroughARestartThatIsShorterThanItsLease() throws Exception {
    EtcdRegistry registry = connect(30_000);
    List<Boolean> heard = Collections.synchronizedList(new ArrayList<>());
    registry.campaign("only", standing -> heard.add(standing.leads()));
    Await.until("it leads", () -> heard.size() == 1);
    etcd.kill();
    etcd.restart();
    Await.until("back", registry::connected);
    pass(2_000);
    assertEquals(List.of(true), heard);
  }

  @Test
  void aLeaderWhoseLeaseIsRevokedIsToldAndLeadsAgainUnderAnother() throws Exception {
    EtcdRegistry registry = connect(3_000);
    List<Boolean> heard = Collections.synchronizedList(new ArrayList<>());
    EtcdCandidate candidate =
        (EtcdCandidate) registry.campaign("only", standing -> heard.add(standing.leads()));
    Await.until("it leads", () -> heard.size() == 1);
    long lease = candidate.leaseId();
    registry.store().client().getLeaseClient().revoke(lease).get(30, TimeUnit.SECONDS);
    Await.until("it leads again", () -> heard.size() == 3 || candidate.leaseId() != lease);
    pass(2_000);
    assertTrue(heard.getLast(), heard.toString());
  }
}
